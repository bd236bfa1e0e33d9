-- Not TRUNCATE, TRIGGER or REFERENCES: policies say nothing about these.
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO authenticated;
