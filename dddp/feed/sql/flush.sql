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
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN octet_length(label) <= 58 THEN 'dddp.' || label
                ELSE 'dddp.#' || left(encode(sha256(convert_to(label, 'UTF8')), 'hex'), 40) END
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

CREATE OR REPLACE FUNCTION {schema}.dddp_flush() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mark text[] := string_to_array(current_setting('dddp.mark', true), ' ');
    notes text;
    done text;
BEGIN
    IF current_query() ~* '^\s*prepare\s+transaction' THEN
        -- PostgreSQL would refuse it too, but not say why.
        RAISE feature_not_supported USING
            MESSAGE = 'a transaction that wrote tables captured by dddp cannot be prepared',
            DETAIL = 'Its changes are sent by NOTIFY, which has no part in two-phase commit.',
            HINT = 'Commit it with COMMIT, or take the triggers away: manage.py ddp_triggers remove.';
    END IF;
    IF mark[1] = 'opening' THEN
        -- Fired inside the INSERT of the mark, so not at commit; dddp_open_mark makes another.
        SET CONSTRAINTS {schema}.dddp_flush, {schema}.dddp_probe DEFERRED;
        PERFORM set_config('dddp.mark', 'deferred', true);
        RETURN NULL;
    END IF;
    IF mark[1] = pg_current_xact_id()::text AND mark[2] = NEW.id::text THEN
        notes := current_setting('dddp.notes', true);
        done := set_config('dddp.mark', '', true);
        done := set_config('dddp.notes', '', true);
        -- By ctid: no scan, so that SERIALIZABLE writers do not collide here.
        DELETE FROM {schema}.dddp_mark WHERE ctid = mark[3]::tid;
    ELSE
        -- RESET ALL has wiped the notes, and where the mark lies.
        DELETE FROM {schema}.dddp_mark WHERE id = NEW.id;
    END IF;
    notes := coalesce(nullif(notes, ''), ',["*"]');
    IF current_setting('dddp.probe', true) = NEW.id::text THEN
        SET CONSTRAINTS {schema}.dddp_flush, {schema}.dddp_probe DEFERRED;
        PERFORM {schema}.dddp_append(notes);
    ELSE
        -- Whatever goes wrong is never the writer's error: then all captured tables changed.
        BEGIN
            done := {schema}.dddp_send(NEW.id, notes);
        EXCEPTION WHEN OTHERS THEN
            RAISE LOG 'dddp: notes could not be sent, so all captured tables are said to have changed: %', SQLERRM;
            PERFORM {schema}.dddp_send(NEW.id, ',["*"]');
        END;
    END IF;
    RETURN NULL;
END $$;

-- Send what the notes tell.
-- The settings are those that change how a value is written as text; row_security = off makes a policy an error
-- instead of a row that seems gone. Generic plans: otherwise PostgreSQL would plan each read anew.
CREATE OR REPLACE FUNCTION {schema}.dddp_send(batch bigint, notes text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET row_security = off SET plan_cache_mode = force_generic_plan
SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
SET bytea_output = 'hex' SET extra_float_digits = 1
AS $$
DECLARE
    parsed jsonb := {schema}.dddp_parsed(notes);
    opening text := format('{"v":1,"x":"%s","b":"%s","i":', pg_current_xact_id(), batch);
    ending text;
    sent integer := 0;
    touched record;
    done integer;
BEGIN
    IF jsonb_array_length(parsed) = 1 AND parsed -> 0 ->> 0 IN ('r', 'l') THEN
        -- One statement on one table, the usual transaction: no query is needed to see that.
        ending := ',"e":[' || to_json({schema}.dddp_channel(parsed -> 0 ->> 1)) || ']}';
        done := {schema}.dddp_send_table(opening, 0, ending, parsed -> 0 ->> 1, false, parsed -> 0 ->> 0 = 'l',
                                         (parsed -> 0 ->> 2)::text[]);
        RETURN;
    END IF;
    SELECT json_agg(DISTINCT channel)::text INTO ending FROM (
        SELECT {schema}.dddp_channel(t.label) FROM {schema}.dddp_touched(parsed) t
        UNION ALL SELECT n ->> 1 FROM jsonb_array_elements(parsed) n WHERE n ->> 0 = 't') c(channel);
    ending := ',"e":' || CASE WHEN octet_length(ending) > 2000 THEN 'null' ELSE ending END || '}';
    FOR touched IN SELECT * FROM {schema}.dddp_touched(parsed) LOOP
        sent := {schema}.dddp_send_table(opening, sent, ending, touched.label, touched.whole, touched.locked, touched.keys);
    END LOOP;
    -- Last, so that a token comes after everything else of its transaction.
    FOR touched IN
        SELECT n ->> 1 AS channel, json_agg(DISTINCT n ->> 2) AS tokens FROM jsonb_array_elements(parsed) n
        WHERE n ->> 0 = 't' GROUP BY 1
    LOOP
        PERFORM pg_notify(touched.channel, opening || sent || ',"t":' || touched.tokens || ending);
        sent := sent + 1;
    END LOOP;
END $$;

-- Send the envelopes of one table; returns how many have been sent then, this batch's earlier ones included.
CREATE OR REPLACE FUNCTION {schema}.dddp_send_table(
    opening text, sent integer, ending text, label text, whole boolean, locked boolean, keys text[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    header text := ',"m":' || to_json(label);
    bodies text[];
    done text;
BEGIN
    IF NOT whole THEN
        bodies := {schema}.dddp_bodies(label, keys, locked, 7999 - octet_length(
            opening || (sent + cardinality(keys) - 1) || header || ending));
    END IF;
    IF bodies IS NULL THEN
        bodies := ARRAY[',"w":true'];
    END IF;
    FOR n IN 1 .. cardinality(bodies) LOOP
        done := pg_notify({schema}.dddp_channel(label), opening || sent || header || bodies[n]
            || CASE WHEN n = cardinality(bodies) THEN ending ELSE '}' END);
        sent := sent + 1;
    END LOOP;
    RETURN sent;
END $$;

-- Read the rows of one table: each item is the JSON array of the carried columns' texts, the key first; the header
-- names the columns; missing are the keys without a row. This one knows no table: migrate replaces it by one with a
-- branch for each, so that the plans of the reads are kept.
CREATE OR REPLACE FUNCTION {schema}.dddp_read(label text, keys text[], locked boolean,
    OUT header text, OUT present text[], OUT items text[], OUT missing text[])
LANGUAGE plpgsql AS $$
BEGIN
END $$;

-- The bodies of one table's envelopes, each at most room bytes; null when the table changed as a whole.
CREATE OR REPLACE FUNCTION {schema}.dddp_bodies(label text, keys text[], locked boolean, room integer) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    reading record;
    header text;  -- stays null where the rows cannot be read
    -- An unlocked row that is not there was deleted here. A locked one may be back before we commit.
    absence text := CASE WHEN locked THEN 'k' ELSE 'g' END;
BEGIN
    -- Under SERIALIZABLE reading rows makes unrelated writers fail: keys only.
    IF current_setting('transaction_isolation') <> 'serializable' THEN
        BEGIN
            reading := {schema}.dddp_read(label, keys, locked);
            header := reading.header;
        EXCEPTION
            WHEN insufficient_privilege THEN
                NULL;
            WHEN syntax_error_or_access_rule_violation OR invalid_schema_name THEN
                -- A migration has dropped or renamed the table or a column since the notes were taken.
                RETURN NULL;
            WHEN OTHERS THEN
                NULL;
        END;
    END IF;
    IF header IS NULL THEN
        RETURN {schema}.dddp_pack(NULL, NULL, NULL, keys, 'k', room);
    END IF;
    IF cardinality(reading.items) = 1 AND reading.missing IS NULL
       AND octet_length(header || ',"r":[]') + octet_length(reading.items[1]) <= room THEN
        RETURN ARRAY[header || ',"r":[' || reading.items[1] || ']'];
    END IF;
    RETURN {schema}.dddp_pack(header, reading.present, reading.items, reading.missing, absence, room);
END $$;

-- Pack the items of one table into as few bodies as is simple: small items fill a body up to the room less one
-- share, so that the item across the border still fits; each larger one gets a body of its own.
CREATE OR REPLACE FUNCTION {schema}.dddp_pack(header text, present text[], items text[], missing text[], absence text, room integer)
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
        SELECT CASE WHEN octet_length(u.item) <= row_room THEN 'r' ELSE 'k' END AS kind,
               CASE WHEN octet_length(u.item) <= row_room THEN u.item ELSE to_json(u.key)::text END AS text
        FROM unnest(present, items) u(key, item)
        UNION ALL
        SELECT absence, to_json(u.key)::text FROM unnest(missing) u(key)
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
