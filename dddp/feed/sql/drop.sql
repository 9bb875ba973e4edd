-- Take everything away again, the capture triggers of all tables included.
DO $$
DECLARE
    ours regprocedure;
BEGIN
    FOR ours IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = '{schema}'::regnamespace AND p.proname LIKE 'dddp\_%'
    LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', ours);
    END LOOP;
END $$;
DROP TABLE {schema}.dddp_mark;
DROP TABLE {schema}.dddp_table;
