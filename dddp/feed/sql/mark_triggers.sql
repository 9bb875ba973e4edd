-- The triggers of the mark. They are made again when somebody has changed them.

DROP TRIGGER IF EXISTS dddp_flush ON {schema}.dddp_mark;
DROP TRIGGER IF EXISTS dddp_probe ON {schema}.dddp_mark;
CREATE CONSTRAINT TRIGGER dddp_flush AFTER INSERT ON {schema}.dddp_mark
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.dddp_flush();
CREATE CONSTRAINT TRIGGER dddp_probe AFTER DELETE ON {schema}.dddp_mark
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.dddp_probe();
-- Whatever session_replication_role says, a mark is flushed.
ALTER TABLE {schema}.dddp_mark ENABLE ALWAYS TRIGGER dddp_flush;
ALTER TABLE {schema}.dddp_mark ENABLE ALWAYS TRIGGER dddp_probe;
