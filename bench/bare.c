/*
 * The least work of a C function for a policy: it returns a text that it has. The cost of a claim function's
 * call is compared with it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bare_user_id);

Datum
bare_user_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text("0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"));
}
