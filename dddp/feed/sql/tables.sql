-- dddp's two tables: the mark of each writing transaction, and the registry of what is captured.

CREATE UNLOGGED TABLE {schema}.dddp_mark (
    id bigint GENERATED ALWAYS AS IDENTITY (CACHE 32)
);

-- What an envelope may carry of each captured table. Written by migrate, which makes dddp_read of it.
CREATE TABLE {schema}.dddp_table (
    label text PRIMARY KEY,      -- bookstore.book
    relation text NOT NULL,      -- public.bookstore_book, quoted where needed
    key_column text NOT NULL,
    key_type text NOT NULL,      -- what key texts are cast to, so that the key's index is used
    columns text[] NOT NULL,     -- as carried: the key column first
    branch text NOT NULL         -- this table's part of dddp_read
);
