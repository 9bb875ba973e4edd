-- Drop the functions that only we call: another release may have made them with other results, which CREATE OR REPLACE
-- cannot change. Those that triggers and other programs call stay, and so do their signatures.
DO $$
DECLARE
    internal regprocedure;
BEGIN
    FOR internal IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = '{schema}'::regnamespace AND p.proname LIKE 'dddp\_%'
          AND p.prorettype <> 'trigger'::regtype AND p.proname NOT IN ('dddp_note', 'dddp_note_table', 'dddp_token')
    LOOP
        EXECUTE format('DROP FUNCTION %s', internal);
    END LOOP;
END $$;
