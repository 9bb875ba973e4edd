"""A bank: accounts, and a ledger of transfers in which every state of an account can be looked up."""
