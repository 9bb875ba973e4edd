-- What the tests know of every write, whoever writes and however: run after migrate.

CREATE SEQUENCE library_write;

CREATE FUNCTION library_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.n := nextval('library_write');
    NEW.txn := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;

-- The state of the library after each transaction, in the order of commits: writers queue for a lock that is held
-- until the commit, and read what is there when they have it.
CREATE TABLE library_history (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txn bigint NOT NULL,
    truncated boolean NOT NULL,
    state json NOT NULL
);

CREATE FUNCTION library_remember() RETURNS trigger LANGUAGE plpgsql SET TimeZone = 'UTC' AS $$
DECLARE
    now_writing text := pg_current_xact_id()::text;
BEGIN
    IF current_setting('library.remembered', true) = now_writing THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('library.remembered', now_writing, true);
    PERFORM pg_advisory_xact_lock(4711);
    INSERT INTO library_history (txn, truncated, state) SELECT now_writing::bigint,
        EXISTS (SELECT FROM library_truncated t WHERE t.txn = now_writing::bigint), json_build_object(
        'author', (SELECT json_agg(r) FROM library_author r),
        'book', (SELECT json_agg(r) FROM library_book r),
        'team', (SELECT json_agg(r) FROM library_team r),
        'tag', (SELECT json_agg(r) FROM library_tag r),
        'book_tags', (SELECT json_agg(json_build_array(r.book_id, r.tag_id)) FROM library_book_tags r),
        'team_members', (SELECT json_agg(json_build_array(r.team_id, r.user_id)) FROM library_team_members r));
    RETURN NULL;
END $$;

-- TRUNCATE fires no row trigger, and a statement's trigger cannot wait for the commit: it leaves a row that can.
CREATE TABLE library_truncated (txn bigint);
CREATE FUNCTION library_truncation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO library_truncated VALUES (pg_current_xact_id()::text::bigint);
    RETURN NULL;
END $$;

DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['author', 'book', 'team', 'tag'] LOOP
        EXECUTE format('CREATE TRIGGER library_number BEFORE INSERT OR UPDATE ON library_%s
            FOR EACH ROW EXECUTE FUNCTION library_number()', relation);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['author', 'book', 'team', 'tag', 'book_tags', 'team_members', 'truncated'] LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER library_remember AFTER INSERT OR UPDATE OR DELETE ON library_%s
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION library_remember()', relation);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['author', 'book', 'team', 'tag', 'book_tags', 'team_members'] LOOP
        EXECUTE format('CREATE TRIGGER library_truncation AFTER TRUNCATE ON library_%s
            FOR EACH STATEMENT EXECUTE FUNCTION library_truncation()', relation);
    END LOOP;
END $$;
