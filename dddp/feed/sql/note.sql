-- What takes notes: the functions that signal handlers and the write fence call, and the TRUNCATE trigger.
-- SECURITY DEFINER: who may write a table need not have rights on ours. (The statement triggers of each key column
-- are made from capture.sql.)

-- Note rows by their keys. Not written: an earlier transaction wrote them (autocommit), so they are read under a lock.
CREATE OR REPLACE FUNCTION {schema}.dddp_note(label text, keys text[], written boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.dddp_append(',' || CASE
        WHEN cardinality(keys) > {schema}.dddp_key_limit() THEN json_build_array('w', label)
        ELSE json_build_array(CASE WHEN written THEN 'r' ELSE 'l' END, label, keys::text) END);
END $$;

-- Note that a table changed in a way that keys cannot tell.
CREATE OR REPLACE FUNCTION {schema}.dddp_note_table(label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.dddp_append(',' || json_build_array('w', label));
END $$;

-- Deliver a token on a process's channel when this transaction ends, after all it has to say.
CREATE OR REPLACE FUNCTION {schema}.dddp_token(channel text, token text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.dddp_append(',' || json_build_array('t', channel, token));
END $$;

CREATE OR REPLACE FUNCTION {schema}.dddp_capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.dddp_append(',' || json_build_array('w', TG_ARGV[0]));
    RETURN NULL;
END $$;

-- Whoever may write may note, and a server may look whether all is installed; also where the defaults are stricter.
GRANT EXECUTE ON FUNCTION {schema}.dddp_note(text, text[], boolean), {schema}.dddp_note_table(text),
    {schema}.dddp_token(text, text) TO PUBLIC;
GRANT SELECT ON {schema}.dddp_table TO PUBLIC;
