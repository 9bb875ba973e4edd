    IF label = {label} THEN
        IF locked THEN
            rows := ARRAY[{header}] || ARRAY(SELECT array_to_json(ARRAY[{texts}])::text FROM {relation} r
                                             WHERE {key} = ANY (dddp_read.keys::{key_type}[]) FOR NO KEY UPDATE);
        ELSE
            rows := ARRAY[{header}] || ARRAY(SELECT array_to_json(ARRAY[{texts}])::text FROM {relation} r
                                             WHERE {key} = ANY (dddp_read.keys::{key_type}[]));
        END IF;
        IF cardinality(rows) <= cardinality(keys) THEN
            -- As the type writes them: a signal handler's text of a key may differ from PostgreSQL's.
            rows := rows || ARRAY(SELECT to_json(missing)::text FROM (
                SELECT key::text FROM unnest(keys::{key_type}[]) key
                EXCEPT SELECT row::json ->> 0 FROM unnest(rows[2:]) row) missing(missing));
        END IF;
    END IF;
