"""Small files of the public data sets, and servers of them."""
