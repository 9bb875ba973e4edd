    WHEN {label} THEN
        header := {header};
        IF locked THEN
            SELECT array_agg(t.key), array_agg(t.item) INTO present, items FROM (
                SELECT {key}::text AS key, array_to_json(ARRAY[{texts}])::text AS item
                FROM {relation} r WHERE {key} = ANY (keys::{key_type}[]) FOR NO KEY UPDATE) t;
        ELSE
            SELECT array_agg({key}::text), array_agg(array_to_json(ARRAY[{texts}])::text) INTO present, items
            FROM {relation} r WHERE {key} = ANY (keys::{key_type}[]);
        END IF;
        IF present IS NULL OR cardinality(present) < cardinality(keys) THEN
            -- As the type writes them: a signal handler's text of a key may differ from PostgreSQL's.
            missing := ARRAY(SELECT k::text FROM unnest(keys::{key_type}[]) k EXCEPT SELECT unnest(present));
        END IF;
