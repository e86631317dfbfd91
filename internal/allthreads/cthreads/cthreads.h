// The kinds of threads, in the order of kinds.go.
enum ct_kind { CT_SLEEP, CT_POLL, CT_EPOLL, CT_READ, CT_FUTEX, CT_COND, CT_BUSY, CT_SETGID, CT_CHURN, CT_CHAIN, CT_KINDS };

#include <features.h>
#ifdef __GLIBC__
enum { ct_glibc = 1 };
#else
enum { ct_glibc = 0 };
#endif

struct ct_result {
	int threads, opened, denied, failed, least, most;
	int interrupted[CT_KINDS];
	int children, escaped, odd;
	int gid_failed, gid_differs, no_new_privs;
};

void ct_setup(const char *path, int ruleset);
int ct_start(int kind, int count, int masked);
void ct_probe(int stack, struct ct_result *result);
void ct_armed(int layers);
void ct_start_blocked_chain(void);
