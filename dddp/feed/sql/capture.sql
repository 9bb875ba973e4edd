-- The capture trigger of all tables whose key is the column {key}: notes the old and the new keys of one statement.
-- The column is written into the function, so that its plan is kept; the table's label is the trigger's argument.
-- The settings are those that change how a key is written as text. SECURITY DEFINER: who may write the table need not
-- have rights on ours.

CREATE OR REPLACE FUNCTION {schema}.{function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
{settings}
AS $$
DECLARE
    keys text[];
    old_keys text[];
    done text;
BEGIN
    BEGIN
        IF TG_OP <> 'DELETE' THEN
            keys := ARRAY(SELECT dddp_new.{key}::text FROM dddp_new LIMIT {schema}.dddp_key_limit() + 1);
        END IF;
        IF TG_OP <> 'INSERT' THEN
            old_keys := ARRAY(SELECT dddp_old.{key}::text FROM dddp_old LIMIT {schema}.dddp_key_limit() + 1);
            IF keys IS DISTINCT FROM old_keys THEN
                keys := ARRAY(SELECT unnest(keys) UNION SELECT unnest(old_keys));
            END IF;
        END IF;
    EXCEPTION WHEN undefined_column THEN
        -- The key was renamed or dropped by a migration that has not refreshed its triggers yet.
        PERFORM {schema}.dddp_append(',' || json_build_array('w', TG_ARGV[0]));
        RETURN NULL;
    END;
    IF cardinality(keys) > {schema}.dddp_key_limit() THEN
        PERFORM {schema}.dddp_append(',' || json_build_array('w', TG_ARGV[0]));
    ELSIF keys <> '{}' THEN
        done := {schema}.dddp_append(',["r","' || TG_ARGV[0] || '",' || to_json(keys::text) || ']');
    END IF;
    RETURN NULL;
END $$;
