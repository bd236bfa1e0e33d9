/*
 * Reads the client's line of pg_hba.conf. pgrx binds neither Port nor HbaLine.
 *
 * Without these three, libpq-be.h includes no header of GSSAPI or OpenSSL, which the build would then need. The layout
 * of Port does not depend on them, as the comments in that header say.
 */
#include "postgres.h"

#include <sys/socket.h>

#undef ENABLE_GSS
#undef USE_SSL
#undef USE_OPENSSL

#include "libpq/hba.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"

/* As Line in oauth.rs has them. The texts live as long as the process authenticates its client. */
typedef struct
{
	const char *issuer;
	const char *scope;
	bool		skips_usermap;
	bool		lacks_tls;
} pg_auth_jwt_line;

extern bool pg_auth_jwt_read_line(pg_auth_jwt_line *line);

/* Cannot raise. False if no client is being authenticated. */
bool
pg_auth_jwt_read_line(pg_auth_jwt_line *line)
{
	const HbaLine *hba = MyProcPort != NULL ? MyProcPort->hba : NULL;

	if (hba == NULL)
		return false;
	line->issuer = hba->oauth_issuer;
	line->scope = hba->oauth_scope;
	line->skips_usermap = hba->oauth_skip_usermap;
	line->lacks_tls = !MyProcPort->ssl_in_use && MyProcPort->raddr.addr.ss_family != AF_UNIX;
	return true;
}
