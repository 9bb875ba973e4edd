-- dddp_read as this database's registry has it: a branch (branch.sql) for each captured table.

CREATE OR REPLACE FUNCTION {schema}.dddp_read(label text, keys text[], locked boolean) RETURNS text[]
LANGUAGE plpgsql AS $dddp$
DECLARE
    rows text[];
BEGIN
    -- Under SERIALIZABLE reading rows makes unrelated writers fail.
    IF current_setting('transaction_isolation') <> 'serializable' THEN
{branches}
    END IF;
    RETURN rows;
END $dddp$;
