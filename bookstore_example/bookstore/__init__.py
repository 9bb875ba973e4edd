"""A shop of real books: the example app of dddp."""
