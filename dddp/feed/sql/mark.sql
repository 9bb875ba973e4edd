-- The mark: one row per writing transaction, whose deferred trigger flushes the transaction's notes at commit.
--
-- The notes themselves live in two transaction-local settings, which a savepoint rolls back together with the row:
--   dddp.mark    <xid> <mark id> <ctid> <fold at>   whose notes these are, where the mark lies, when to fold them
--   dddp.notes   ,["r","bookstore.book","{1,2}"],["w","bookstore.author"],...
-- Appending to a setting is cheaper than a row per statement, and reads no table (SERIALIZABLE writers collide
-- over what they read). RESET ALL wipes settings: a mark without its notes says "all captured tables changed".
--
-- A note is one of
--   ["r", label, keys]      rows this transaction wrote; the keys as a text[] literal
--   ["l", label, keys]      rows an earlier transaction wrote (signals in autocommit): read them under a lock
--   ["w", label]            the whole table changed
--   ["t", channel, token]   a token to deliver with the end of the transaction
--   ["*"]                   all captured tables changed
--
-- Functions without a search_path of their own are internal: their callers have fixed it. What is called for its effect
-- on the way of every write is assigned to "done": an expression, which costs less than PERFORM's query.

-- Past this number of keys of one table a transaction says "the whole table changed".
CREATE OR REPLACE FUNCTION {schema}.dddp_key_limit() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 10000';

-- A transaction's first note: insert its mark and remember where it lies.
CREATE OR REPLACE FUNCTION {schema}.dddp_open_mark() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mark bigint;
    place tid;
    done text;
BEGIN
    done := set_config('dddp.mark', 'opening', true);
    INSERT INTO {schema}.dddp_mark DEFAULT VALUES RETURNING id, ctid INTO mark, place;
    -- After SET CONSTRAINTS ALL IMMEDIATE the flush has fired inside the INSERT and deferred itself from now on.
    IF current_setting('dddp.mark') = 'deferred' THEN
        DELETE FROM {schema}.dddp_mark WHERE ctid = place;
        INSERT INTO {schema}.dddp_mark DEFAULT VALUES RETURNING id, ctid INTO mark, place;
    END IF;
    done := set_config('dddp.mark', concat_ws(' ', pg_current_xact_id(), mark, place, 65536), true);
    done := set_config('dddp.notes', '', true);
END $$;

-- Add notes, each with its leading comma, to those of this transaction.
CREATE OR REPLACE FUNCTION {schema}.dddp_append(added text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    mark text := current_setting('dddp.mark', true);
    notes text;
    done text;
BEGIN
    -- The xid guards against a setting that does not come from this transaction.
    IF split_part(mark, ' ', 1) IS DISTINCT FROM pg_current_xact_id()::text THEN
        done := {schema}.dddp_open_mark();
        mark := current_setting('dddp.mark');
    END IF;
    notes := current_setting('dddp.notes', true) || added;
    -- Every append copies the notes: fold them each time they have doubled, so that many statements stay cheap.
    IF octet_length(notes) > split_part(mark, ' ', 4)::integer THEN
        notes := {schema}.dddp_fold(notes);
        PERFORM set_config('dddp.mark',
            regexp_replace(mark, '\d+$', greatest(65536, 2 * octet_length(notes))::text), true);
    END IF;
    done := set_config('dddp.notes', notes, true);
END $$;

-- What the notes say of each table, every key once.
CREATE OR REPLACE FUNCTION {schema}.dddp_touched(notes jsonb)
RETURNS TABLE (label text, whole boolean, locked boolean, keys text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH note AS (
        SELECT n ->> 0 AS kind, n ->> 1 AS label, (n ->> 2)::text[] AS keys
        FROM jsonb_array_elements(notes) n WHERE n ->> 0 IN ('r', 'l', 'w')
        UNION ALL
        SELECT 'w', t.label, NULL FROM {schema}.dddp_table t
        WHERE EXISTS (SELECT FROM jsonb_array_elements(notes) n WHERE n ->> 0 = '*')
    )
    SELECT n.label,
           bool_or(n.kind = 'w') OR count(DISTINCT k.key COLLATE "C") > {schema}.dddp_key_limit(),
           bool_or(n.kind = 'l'),
           array_agg(DISTINCT k.key COLLATE "C") FILTER (WHERE k.key IS NOT NULL)
    FROM note n LEFT JOIN LATERAL unnest(n.keys) k(key) ON true
    GROUP BY n.label ORDER BY n.label COLLATE "C";
END $$;

-- The notes as JSON.
CREATE OR REPLACE FUNCTION {schema}.dddp_parsed(notes text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$ SELECT ('[' || substr(notes, 2) || ']')::jsonb $$;

-- The same notes, shorter.
CREATE OR REPLACE FUNCTION {schema}.dddp_fold(notes text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    parsed jsonb := {schema}.dddp_parsed(notes);
BEGIN
    RETURN (
        SELECT string_agg(',' || note, '') FROM (
            SELECT DISTINCT n::text FROM jsonb_array_elements(parsed) n WHERE n ->> 0 IN ('t', '*')
            UNION ALL
            SELECT CASE WHEN whole THEN json_build_array('w', label)
                        ELSE json_build_array(CASE WHEN locked THEN 'l' ELSE 'r' END, label, keys::text) END::text
            FROM {schema}.dddp_touched(parsed) WHERE label IS NOT NULL
        ) folded(note)
    );
END $$;
