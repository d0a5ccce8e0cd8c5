"""Images, classes and pictures: what a network needs and shows, without any data set."""
