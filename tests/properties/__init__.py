"""The promises of dddp, tested at random on the real server and the real database."""
