-- The mark: one row per writing transaction, whose deferred trigger flushes the transaction's notes at commit.
--
-- The notes themselves live in a transaction-local setting, which a savepoint rolls back together with the row:
--   dddp.notes   <opening> <ctid> <fold at> ,["r","bookstore.book","{1,2}"],["w","bookstore.author"],...
-- It begins with what the envelopes will begin with, which says whose notes these are; then where the mark lies, and
-- the length at which to fold the notes.
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
-- Functions without a search_path of their own are internal: their callers have fixed it.
--
-- The way of one short transaction is what a writer waits for. There PL/pgSQL's own work counts: it prepares each
-- expression anew in each transaction, a call costs as much as five expressions, and a function with settings as much
-- as ten. So there are few of them on that way, and what is called for its effect is assigned to "done": an expression,
-- where PERFORM would be a query.

-- Past this number of keys of one table a transaction says "the whole table changed".
CREATE OR REPLACE FUNCTION {schema}.dddp_key_limit() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 10000';

-- What each envelope of a batch begins with; its counter follows.
CREATE OR REPLACE FUNCTION {schema}.dddp_opening(batch bigint) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT '{"v":1,"x":"' || pg_current_xact_id() || '","b":"' || batch || '","i":' $$;

-- Add notes, each with its leading comma, to those of this transaction; the first ones insert its mark.
CREATE OR REPLACE FUNCTION {schema}.dddp_append(added text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    notes text := current_setting('dddp.notes', true);
    done text;
BEGIN
    -- The xid guards against a setting that does not come from this transaction.
    IF starts_with(notes, '{"v":1,"x":"' || pg_current_xact_id() || '"') IS NOT TRUE THEN
        INSERT INTO {schema}.dddp_mark SELECT WHERE set_config('dddp.notes', 'opening', true) = 'opening'
        RETURNING {schema}.dddp_opening(id) || ' ' || ctid || ' 65536 ' INTO notes;
        IF current_setting('dddp.notes') = 'deferred' THEN
            -- After SET CONSTRAINTS ALL IMMEDIATE: the flush fired inside the INSERT, and is deferred from now on.
            DELETE FROM {schema}.dddp_mark WHERE ctid = split_part(notes, ' ', 2)::tid;
            done := {schema}.dddp_append(added);
            RETURN;
        END IF;
    -- Every append copies the notes: fold them each time they have doubled, so that many statements stay cheap.
    ELSIF octet_length(notes) > split_part(notes, ' ', 3)::integer THEN
        notes := {schema}.dddp_folded(notes);
    END IF;
    done := set_config('dddp.notes', notes || added, true);
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
LANGUAGE sql IMMUTABLE AS $$ SELECT ('[' || substr(notes, strpos(notes, ' ,') + 2) || ']')::jsonb $$;

-- The same notes, shorter.
CREATE OR REPLACE FUNCTION {schema}.dddp_folded(notes text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    parsed jsonb := {schema}.dddp_parsed(notes);
    folded text := (
        SELECT string_agg(',' || note, '') FROM (
            SELECT DISTINCT n::text FROM jsonb_array_elements(parsed) n WHERE n ->> 0 IN ('t', '*')
            UNION ALL
            SELECT CASE WHEN whole THEN json_build_array('w', label)
                        ELSE json_build_array(CASE WHEN locked THEN 'l' ELSE 'r' END, label, keys::text) END::text
            FROM {schema}.dddp_touched(parsed) WHERE label IS NOT NULL
        ) folded(note)
    );
BEGIN
    RETURN regexp_replace(split_part(notes, ' ,', 1), '\d+$', greatest(65536, 2 * octet_length(folded))::text)
        || ' ' || folded;
END $$;
