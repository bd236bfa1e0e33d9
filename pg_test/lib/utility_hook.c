/*
 * Stands in for Citus: a setting citus.propagate_set_commands, and a utility hook that keeps the text of each
 * SET LOCAL, as Citus does to send it to its workers. With citus.fails the hook raises, as Citus does for a worker
 * that cannot be reached; with citus.swallows it does not go on.
 */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

#define ROOM 65536

static const struct config_enum_entry behaviors[] = {{"none", 0, false}, {"local", 1, false}, {NULL, 0, false}};
static int	propagates = 0;
static bool fails = false;
static bool swallows = false;
static char seen[ROOM];
static ProcessUtility_hook_type previous = NULL;

void		_PG_init(void);

static void
process_utility(PlannedStmt *statement, const char *text, bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	if (IsA(statement->utilityStmt, VariableSetStmt))
	{
		VariableSetStmt *set = (VariableSetStmt *) statement->utilityStmt;

		if (set->kind == VAR_SET_VALUE && set->is_local)
		{
			if (strlen(seen) + strlen(text) + 2 > ROOM)
				elog(ERROR, "no room for what the hook sees");
			strcat(seen, text);
			strcat(seen, ";");
			if (debug_query_string != NULL && strstr(debug_query_string, text) != NULL)
				strcat(seen, " -- the client's;");
			if (fails)
				ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("no worker for: %s", text),
								errdetail("Statement: %s", text)));
			if (swallows)
				return;
		}
	}
	if (previous)
		previous(statement, text, read_only_tree, context, parameters, environment, destination, completion);
	else
		standard_ProcessUtility(statement, text, read_only_tree, context, parameters, environment, destination,
								completion);
}

void
_PG_init(void)
{
	DefineCustomEnumVariable("citus.propagate_set_commands", "", NULL, &propagates, 0, behaviors, PGC_USERSET, 0, NULL,
							 NULL, NULL);
	DefineCustomBoolVariable("citus.fails", "", NULL, &fails, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("citus.swallows", "", NULL, &swallows, false, PGC_USERSET, 0, NULL, NULL, NULL);
	previous = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

PG_FUNCTION_INFO_V1(utility_hook_seen);

/* What the hook has seen since the last call. */
Datum
utility_hook_seen(PG_FUNCTION_ARGS)
{
	text	   *result = cstring_to_text(seen);

	seen[0] = '\0';
	PG_RETURN_TEXT_P(result);
}
