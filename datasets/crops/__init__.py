"""The endless stream of training crops, and the targets made of them."""
