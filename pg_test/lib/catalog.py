"""What an extension consists of, as the catalog has it: two databases with the same text of each object behave the
same. Names stand for numbers, so databases of one cluster or of two can be compared."""

# The members of the extension, and what hangs on its tables and is no member by itself.
MEMBERS = """
WITH members AS (
    SELECT d.classid, d.objid FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'pg_auth_jwt'
), tables AS (
    SELECT c.* FROM pg_class AS c JOIN members AS m ON m.objid = c.oid AND m.classid = 'pg_class'::regclass
)
"""

# Each query gives an object's name and its text.
PARTS = {
    # No list of privileges is the same as the list that a new function has.
    "function": MEMBERS
    + """
SELECT p.oid::regprocedure::text,
       concat_ws(E'\\n', pg_get_functiondef(p.oid), p.proowner::regrole,
                 ARRAY(SELECT a::text FROM unnest(COALESCE(p.proacl, acldefault('f', p.proowner))) AS a
                        ORDER BY 1)::text,
                 obj_description(p.oid, 'pg_proc'))
  FROM pg_proc AS p JOIN members AS m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass""",
    "relation": MEMBERS
    + """
SELECT t.oid::regclass::text,
       concat_ws(E'\\n', t.relkind, t.relowner::regrole,
                 ARRAY(SELECT a::text FROM unnest(t.relacl) AS a ORDER BY 1)::text,
                 t.reloptions::text, t.relrowsecurity, t.relforcerowsecurity,
                 t.relreplident, t.relpersistence, obj_description(t.oid, 'pg_class'),
                 CASE WHEN t.relkind = 'v' THEN pg_get_viewdef(t.oid) END)
  FROM tables AS t""",
    # Numbered, because the order of the columns counts: INSERT and COPY without names take it.
    "column": MEMBERS
    + """
SELECT format('%s %s', t.oid::regclass, a.attname),
       concat_ws(E'\\n', (SELECT count(*) FROM pg_attribute AS b
                         WHERE b.attrelid = a.attrelid AND NOT b.attisdropped AND b.attnum BETWEEN 1 AND a.attnum),
                 format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation,
                 a.attnotnull, a.attidentity, a.attgenerated,
                 a.attacl::text, a.attstorage, pg_get_expr(d.adbin, d.adrelid), col_description(t.oid, a.attnum))
  FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum""",
    "constraint": MEMBERS
    + """
SELECT format('%s %s', c.conrelid::regclass, c.conname),
       concat_ws(E'\\n', pg_get_constraintdef(c.oid), c.convalidated, obj_description(c.oid, 'pg_constraint'))
  FROM pg_constraint AS c JOIN tables AS t ON t.oid = c.conrelid""",
    "index": MEMBERS
    + """
SELECT i.indexrelid::regclass::text,
       concat_ws(E'\\n', pg_get_indexdef(i.indexrelid), i.indisvalid, obj_description(i.indexrelid, 'pg_class'))
  FROM pg_index AS i JOIN tables AS t ON t.oid = i.indrelid""",
    "trigger": MEMBERS
    + """
SELECT format('%s %s', g.tgrelid::regclass, g.tgname),
       concat_ws(E'\\n', pg_get_triggerdef(g.oid), g.tgenabled, obj_description(g.oid, 'pg_trigger'))
  FROM pg_trigger AS g JOIN tables AS t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal""",
    "policy": MEMBERS
    + """
SELECT format('%s %s', p.polrelid::regclass, p.polname),
       concat_ws(E'\\n', p.polcmd, p.polpermissive, p.polroles::regrole[],
                 pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid""",
    "schema": """
SELECT n.nspname, concat_ws(E'\\n', n.nspowner::regrole, n.nspacl::text, obj_description(n.oid, 'pg_namespace'))
  FROM pg_namespace AS n WHERE n.nspname = 'auth'""",
    # All that there is, of whatever kind.
    "member": MEMBERS + "SELECT pg_describe_object(m.classid, m.objid, 0), 'a member' FROM members AS m",
    # Privileges that pg_dump takes for the extension's own, and leaves out. Those that a new function has anyway count
    # for nothing.
    "initial privileges": MEMBERS
    + """
SELECT format('%s %s', pg_describe_object(p.classoid, p.objoid, p.objsubid), p.objsubid),
       concat_ws(E'\\n', p.privtype, list.sorted::text)
  FROM pg_init_privs AS p JOIN members AS m ON m.classid = p.classoid AND m.objid = p.objoid
  LEFT JOIN pg_proc AS f ON f.oid = p.objoid AND p.classoid = 'pg_proc'::regclass,
       LATERAL (SELECT ARRAY(SELECT a::text FROM unnest(p.initprivs) AS a ORDER BY 1),
                       ARRAY(SELECT a::text FROM unnest(acldefault('f', f.proowner)) AS a ORDER BY 1)
               ) AS list (sorted, usual)
 WHERE f.oid IS NULL OR list.sorted <> list.usual""",
    "tables that pg_dump saves": """
SELECT c.oid::regclass::text, c.condition
  FROM pg_extension AS e, unnest(e.extconfig::oid[], e.extcondition) AS c (oid, condition)
 WHERE e.extname = 'pg_auth_jwt'""",
    "extension": """
SELECT extname, concat_ws(E'\\n', extversion, extrelocatable, extnamespace::regnamespace, extowner::regrole)
  FROM pg_extension WHERE extname = 'pg_auth_jwt'""",
}


def objects(session):
    """The text of each object of the extension in the session's database, by kind and name."""
    session.query("SET search_path = pg_catalog")
    found = {(kind, name): text for kind, query in PARTS.items() for name, text in session.query(query + " ORDER BY 1")}
    session.query("RESET search_path")
    return found


def differences(old, new):
    """What two of these differ in: lines, none if they are the same."""
    lines = []
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            lines.append(f"{key[0]} {key[1]}: {old.get(key)!r} and {new.get(key)!r}")
    return lines
