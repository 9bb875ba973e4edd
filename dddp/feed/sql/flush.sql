-- The flush: at commit, read each touched row once, as it is now, and send it in envelopes.
--
-- An envelope is compact JSON of at most 7,999 bytes (NOTIFY's limit), on the channel of its table:
--   v  version, 1               x  transaction id            b  batch: the mark's id, one per flush
--   i  counter, so that no two envelopes are equal (NOTIFY drops the second of two equal ones)
--   m  the table's label        c  columns, the key first    r  rows: the columns' texts
--   g  keys of rows that are gone                            k  keys of rows to be read again
--   w  true: the table changed as a whole                    t  tokens (on a process's channel)
--   e  only on the last envelope of each channel: the channels this batch uses, null when too many to list

-- At most 63 bytes, as NOTIFY demands. dddp.feed.channels does the same.
CREATE OR REPLACE FUNCTION {schema}.dddp_channel(label text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN octet_length(label) <= 58 THEN 'dddp.' || label
                ELSE 'dddp.#' || left(encode(sha256(convert_to(label, 'UTF8')), 'hex'), 40) END
$$;

-- The body for one key, from what dddp_read gave for it; null where it gave nothing.
CREATE OR REPLACE FUNCTION {schema}.dddp_body(rows text[], locked boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN starts_with(rows[2], '[') THEN rows[1] || ',"r":['
                WHEN locked THEN ',"k":[' ELSE ',"g":[' END || rows[2] || ']'
$$;

-- Is it the commit? A deferred trigger runs also at SET CONSTRAINTS ALL IMMEDIATE (loaddata issues it), when the
-- rows may still be an intermediate state. Then the trigger on the mark's own deletion, deferrable too, fires at once.
CREATE OR REPLACE FUNCTION {schema}.dddp_probe() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    done pg_catalog.text;
BEGIN
    done := pg_catalog.set_config('dddp.probe', OLD.id::pg_catalog.text, true);
    RETURN NULL;
END $$;

-- The settings are those that change how a value is written as text; row_security = off makes a policy an error
-- instead of a row that seems gone. Generic plans: otherwise PostgreSQL would plan each read anew.
CREATE OR REPLACE FUNCTION {schema}.dddp_flush() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET row_security = off SET plan_cache_mode = force_generic_plan
SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
SET bytea_output = 'hex' SET extra_float_digits = 1
AS $$
DECLARE
    notes text := current_setting('dddp.notes', true);
    opening text := {schema}.dddp_opening(NEW.id);
    parsed jsonb;
    note jsonb;
    label text;
    rows text[];
    message text;
    done text;
BEGIN
    IF current_query() ~* '^\s*prepare\s+transaction' THEN
        -- PostgreSQL would refuse it too, but not say why.
        RAISE feature_not_supported USING
            MESSAGE = 'a transaction that wrote tables captured by dddp cannot be prepared',
            DETAIL = 'Its changes are sent by NOTIFY, which has no part in two-phase commit.',
            HINT = 'Commit it with COMMIT, or take the triggers away: manage.py ddp_triggers remove.';
    END IF;
    IF starts_with(notes, opening) THEN
        done := set_config('dddp.notes', '', true);
        -- By ctid: no scan, so that SERIALIZABLE writers do not collide here.
        DELETE FROM {schema}.dddp_mark WHERE ctid = split_part(notes, ' ', 2)::tid;
    ELSIF notes = 'opening' THEN
        -- Fired inside the INSERT of the mark, so not at commit; dddp_append makes another.
        SET CONSTRAINTS {schema}.dddp_flush, {schema}.dddp_probe DEFERRED;
        PERFORM set_config('dddp.notes', 'deferred', true);
        RETURN NULL;
    ELSE
        -- RESET ALL has wiped the notes, and where the mark lies.
        notes := ' ,["*"]';
        DELETE FROM {schema}.dddp_mark WHERE id = NEW.id;
    END IF;
    IF current_setting('dddp.probe', true) = NEW.id::text THEN
        SET CONSTRAINTS {schema}.dddp_flush, {schema}.dddp_probe DEFERRED;
        PERFORM {schema}.dddp_append(substr(notes, strpos(notes, ' ,') + 1));
    ELSE
        -- Whatever goes wrong is never the writer's error.
        BEGIN
            parsed := {schema}.dddp_parsed(notes);
            note := parsed -> 0;
            IF jsonb_array_length(parsed) = 1 AND note ->> 0 IN ('r', 'l') AND note ->> 2 NOT LIKE '%,%' THEN
                -- One row of one table, the usual transaction: nothing to gather or to pack. Null where it cannot be
                -- read.
                label := note ->> 1;
                rows := {schema}.dddp_read(label, (note ->> 2)::text[], note ->> 0 = 'l');
                message := opening || '0,"m":"' || label || '"' || {schema}.dddp_body(rows, note ->> 0 = 'l')
                    || ',"e":["' || {schema}.dddp_channel(label) || '"]}';
            END IF;
            IF octet_length(message) <= 7999 THEN
                done := pg_notify({schema}.dddp_channel(label), message);
            ELSE
                done := {schema}.dddp_send(opening, parsed, false);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            PERFORM {schema}.dddp_send_anyway(opening, notes);
        END;
    END IF;
    RETURN NULL;
END $$;

-- Send what can be sent after something went wrong; at worst that all captured tables changed.
CREATE OR REPLACE FUNCTION {schema}.dddp_send_anyway(opening text, notes text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.dddp_send(opening, {schema}.dddp_parsed(notes), true);
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'dddp: notes could not be sent, so all captured tables are said to have changed: %', SQLERRM;
    PERFORM {schema}.dddp_send(opening, '[["*"]]', false);
END $$;

-- Send what the notes tell. Wary: a table whose rows cannot be read does not keep the others from being sent.
CREATE OR REPLACE FUNCTION {schema}.dddp_send(opening text, notes jsonb, wary boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    ending text;
    sent integer := 0;
    touched record;
    done text;
BEGIN
    IF NOT wary AND notes -> 0 ->> 0 IN ('r', 'l')
       AND jsonb_array_length(notes) <= 2 AND coalesce(notes -> 1 ->> 0, 't') = 't' THEN
        -- One statement on one table, and perhaps a method's token: no query is needed to see that.
        ending := ',"e":["' || {schema}.dddp_channel(notes -> 0 ->> 1) || '"'
            || coalesce(',' || (notes -> 1 -> 1)::text, '') || ']}';
        sent := {schema}.dddp_send_table(
            opening, 0, ending, notes -> 0 ->> 1, false, notes -> 0 ->> 0 = 'l', (notes -> 0 ->> 2)::text[]);
        IF jsonb_array_length(notes) = 2 THEN
            done := pg_notify(notes -> 1 ->> 1, opening || sent || ',"t":[' || (notes -> 1 -> 2)::text || ']' || ending);
        END IF;
        RETURN;
    END IF;
    SELECT json_agg(DISTINCT channel)::text INTO ending FROM (
        SELECT {schema}.dddp_channel(t.label) FROM {schema}.dddp_touched(notes) t
        UNION ALL SELECT n ->> 1 FROM jsonb_array_elements(notes) n WHERE n ->> 0 = 't') c(channel);
    ending := ',"e":' || CASE WHEN octet_length(ending) > 2000 THEN 'null' ELSE ending END || '}';
    FOR touched IN SELECT * FROM {schema}.dddp_touched(notes) LOOP
        IF wary THEN
            sent := {schema}.dddp_try_to_send_table(
                opening, sent, ending, touched.label, touched.whole, touched.locked, touched.keys);
        ELSE
            sent := {schema}.dddp_send_table(
                opening, sent, ending, touched.label, touched.whole, touched.locked, touched.keys);
        END IF;
    END LOOP;
    -- Last, so that a token comes after everything else of its transaction.
    FOR touched IN
        SELECT n ->> 1 AS channel, json_agg(DISTINCT n ->> 2) AS tokens FROM jsonb_array_elements(notes) n
        WHERE n ->> 0 = 't' GROUP BY 1
    LOOP
        PERFORM pg_notify(touched.channel, opening || sent || ',"t":' || touched.tokens || ending);
        sent := sent + 1;
    END LOOP;
END $$;

-- Send the envelopes of one table (its label is two identifiers and a dot: nothing to escape); returns how many have
-- been sent then, this batch's earlier ones included. Locked: rows are read under a lock; null: they are not read.
-- An unlocked row that is not there was deleted here, so it is gone. A locked one may be back before we commit, so it
-- is to be read again.
CREATE OR REPLACE FUNCTION {schema}.dddp_send_table(
    opening text, sent integer, ending text, label text, whole boolean, locked boolean, keys text[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    header text := ',"m":"' || label || '"';
    rows text[];
    message text;
    bodies text[];
    done text;
BEGIN
    IF cardinality(keys) = 1 AND NOT whole AND locked IS NOT NULL THEN
        -- Of one row there is nothing to pack.
        rows := {schema}.dddp_read(label, keys, locked);
        message := opening || sent || header || {schema}.dddp_body(rows, locked) || ending;
        IF octet_length(message) <= 7999 THEN
            done := pg_notify({schema}.dddp_channel(label), message);
            RETURN sent + 1;
        END IF;
        locked := NULL; -- too large, or it may not be read: once is enough to know
    END IF;
    IF NOT whole THEN
        bodies := {schema}.dddp_bodies(label, keys, locked, 7999 - octet_length(
            opening || (sent + cardinality(keys) - 1) || header || ending));
    END IF;
    bodies := coalesce(bodies, ARRAY[',"w":true']);
    FOR n IN 1 .. cardinality(bodies) LOOP
        done := pg_notify({schema}.dddp_channel(label), opening || (sent + n - 1) || header || bodies[n]
            || CASE WHEN n = cardinality(bodies) THEN ending ELSE '}' END);
    END LOOP;
    RETURN sent + cardinality(bodies);
END $$;

-- The same, without the rows where they cannot be read.
CREATE OR REPLACE FUNCTION {schema}.dddp_try_to_send_table(
    opening text, sent integer, ending text, label text, whole boolean, locked boolean, keys text[]) RETURNS integer
LANGUAGE plpgsql AS $$
BEGIN
    RETURN {schema}.dddp_send_table(opening, sent, ending, label, whole, locked, keys);
EXCEPTION
    WHEN insufficient_privilege THEN
        RETURN {schema}.dddp_send_table(opening, sent, ending, label, false, NULL, keys);
    WHEN syntax_error_or_access_rule_violation OR invalid_schema_name THEN
        -- A migration has dropped or renamed the table or a column since the notes were taken.
        RAISE LOG 'dddp: % cannot be read, so it is said to have changed as a whole: %', label, SQLERRM;
        RETURN {schema}.dddp_send_table(opening, sent, ending, label, true, NULL, keys);
    WHEN OTHERS THEN
        RAISE LOG 'dddp: rows of % cannot be read, so only their keys are sent: %', label, SQLERRM;
        RETURN {schema}.dddp_send_table(opening, sent, ending, label, false, NULL, keys);
END $$;

-- Read the rows of one table: first the header, which names the columns; then for each key, in any order, its row as
-- the JSON array of the carried columns' texts, or where there is none the key, a JSON string. Null when nothing may be
-- read. This one knows no table: migrate replaces it by one with a branch for each, so that the plans of the reads are
-- kept.
CREATE OR REPLACE FUNCTION {schema}.dddp_read(label text, keys text[], locked boolean) RETURNS text[]
LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;

-- The bodies of one table's envelopes, each at most room bytes; null when a key has no room.
CREATE OR REPLACE FUNCTION {schema}.dddp_bodies(label text, keys text[], locked boolean, room integer) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    rows text[] := CASE WHEN locked IS NOT NULL THEN {schema}.dddp_read(label, keys, locked) END;
BEGIN
    IF rows IS NULL THEN
        RETURN {schema}.dddp_pack(NULL, ARRAY(SELECT to_json(key)::text FROM unnest(keys) key), 'k', room);
    END IF;
    RETURN {schema}.dddp_pack(rows[1], rows[2:], CASE WHEN locked THEN 'k' ELSE 'g' END, room);
END $$;

-- Pack the items of one table, rows and keys, into as few bodies as is simple: small items fill a body up to the room
-- less one share, so that the item across the border still fits; each larger one gets a body of its own.
CREATE OR REPLACE FUNCTION {schema}.dddp_pack(header text, items text[], absence text, room integer)
RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    -- What a body needs besides its items, and the largest single row and key that fit in one.
    around integer := octet_length(concat(header, ',"r":[],"g":[],"k":[]'));
    row_room integer := room - octet_length(concat(header, ',"r":[]'));
    key_room integer := room - octet_length(',"k":[]');
    share integer := (room - around) / 4;
    bodies text[];
    fits boolean;
BEGIN
    WITH item AS (
        SELECT CASE WHEN i NOT LIKE '[%' THEN absence WHEN octet_length(i) <= row_room THEN 'r' ELSE 'k' END AS kind,
               CASE WHEN i NOT LIKE '[%' OR octet_length(i) <= row_room THEN i ELSE (i::json -> 0)::text END AS text
        FROM unnest(items) i
    ), sized AS (
        SELECT kind, text, octet_length(text) + 1 AS bytes, octet_length(text) + 1 > share AS large FROM item
    ), placed AS (
        SELECT kind, text, bytes, large, CASE
            WHEN large THEN row_number() OVER w
            ELSE (sum(bytes) OVER w - bytes) / greatest(room - around - share, 1) END AS body
        FROM sized WINDOW w AS (PARTITION BY large ORDER BY kind, text COLLATE "C" ROWS UNBOUNDED PRECEDING)
    ), packed AS (
        SELECT concat(
                ',"r":[' || string_agg(text, ',') FILTER (WHERE kind = 'r') || ']',
                ',"g":[' || string_agg(text, ',') FILTER (WHERE kind = 'g') || ']',
                ',"k":[' || string_agg(text, ',') FILTER (WHERE kind = 'k') || ']') AS body,
            bool_or(kind = 'r') AS rows,
            bool_and(kind = 'r' OR bytes - 1 <= key_room) AS fits
        FROM placed GROUP BY large, placed.body
    )
    SELECT array_agg(CASE WHEN p.rows THEN header || p.body ELSE p.body END), bool_and(p.fits)
    INTO bodies, fits FROM packed p;
    -- A key too long even for itself.
    RETURN CASE WHEN fits THEN bodies END;
END $$;
