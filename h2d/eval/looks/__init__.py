"""What is found out about each picture, once: the pose in it, the person's mask, features, agreement with the text."""
