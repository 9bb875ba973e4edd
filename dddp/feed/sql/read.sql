-- dddp_read as this database's registry has it: a branch (branch.sql) for each captured table.

CREATE OR REPLACE FUNCTION {schema}.dddp_read(label text, keys text[], locked boolean,
    OUT header text, OUT present text[], OUT items text[], OUT missing text[])
LANGUAGE plpgsql AS $dddp$
BEGIN
    CASE label
    WHEN NULL THEN
        NULL;
{branches}
    ELSE
        NULL;
    END CASE;
END $dddp$;
