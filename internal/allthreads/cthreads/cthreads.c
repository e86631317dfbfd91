//go:build linux && cgo

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "cthreads.h"

#define LANDLOCK_RESTRICT_SELF 446
#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129

struct thread {
	struct thread *next;
	int kind, masked, epoll, pipe[2];
	unsigned seen; // the last probe that it answered
};

static const char *path;
static int ruleset;
static struct thread *threads;
static struct ct_result result; // under lock
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER, answered = PTHREAD_COND_INITIALIZER;
static atomic_uint probe; // counts the probes; threads answer where it moves on
static atomic_int stacking, gid, armed = -1; // what ct_armed was called with
static atomic_int children, escaped, odd, gid_failed, interrupted[CT_KINDS];

// try_open returns 0, or why the file could not be opened.
static int try_open(void) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

// stack_layers restricts the calling thread until the kernel takes no more,
// which an ordinary user may with no_new_privs alone.
static int stack_layers(void) {
	int layers = 0;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	while (syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
		layers++;
	return errno == E2BIG ? layers : -1;
}

static void answer(struct thread *t) {
	int error = try_open();
	int no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	int layers = stacking ? stack_layers() : 0;
	pthread_mutex_lock(&lock);
	if (result.threads++ == 0)
		result.least = result.most = layers;
	if (layers < result.least)
		result.least = layers;
	if (layers > result.most)
		result.most = layers;
	result.opened += error == 0;
	result.denied += error == EACCES;
	result.failed += error != 0 && error != EACCES;
	result.gid_differs += syscall(SYS_getegid) != gid;
	result.no_new_privs += no_new_privs == 1;
	t->seen = probe;
	pthread_cond_signal(&answered);
	pthread_mutex_unlock(&lock);
}

// child is what a short-lived thread does: once all are restricted, it must be too.
static void *child(void *may_stack) {
	int expected = armed; // before try_open
	int error = try_open();
	if (expected < 0)
		return NULL;
	children++;
	escaped += error != EACCES;
	if (may_stack && expected > 0)
		odd += stack_layers() != expected;
	return NULL;
}

static void count(struct thread *t, int failed) {
	if (failed && errno == EINTR)
		interrupted[t->kind]++;
}

// work does what the kind of thread does, for a moment or until the next probe.
static void work(struct thread *t) {
	struct timespec moment = {0, 20000000}, breath = {0, 500000};
	struct pollfd p = {t->pipe[0], POLLIN, 0};
	struct epoll_event e;
	pthread_t other;
	char byte;
	switch (t->kind) {
	case CT_SLEEP:
		count(t, syscall(SYS_nanosleep, &moment, NULL));
		break;
	case CT_POLL:
		count(t, poll(&p, 1, -1) < 0);
		break;
	case CT_EPOLL:
		count(t, epoll_wait(t->epoll, &e, 1, -1) < 0);
		break;
	case CT_READ:
		count(t, read(t->pipe[0], &byte, 1) < 0);
		return;
	case CT_FUTEX:
		count(t, syscall(SYS_futex, &probe, FUTEX_WAIT_PRIVATE, t->seen, NULL));
		break;
	case CT_COND:
		pthread_mutex_lock(&lock);
		while (probe == t->seen)
			pthread_cond_wait(&changed, &lock);
		pthread_mutex_unlock(&lock);
		break;
	case CT_SETGID:
		if (ct_glibc) // the handler of musl 1.2.3 runs on goroutines' stacks, and overflows them
			gid_failed += setgid(getgid()) != 0;
		nanosleep(&breath, NULL); // else libc's lock is never free for others
		break;
	case CT_CHURN:
		if (pthread_create(&other, NULL, child, t) == 0)
			pthread_join(other, NULL);
		break;
	}
}

static void *run(void *arg) {
	struct thread *t = arg;
	if (t->masked) {
		sigset_t all;
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
	}
	answer(t);
	for (;;) {
		while (probe == t->seen)
			work(t);
		if (t->kind == CT_POLL || t->kind == CT_EPOLL) {
			char byte;
			count(t, read(t->pipe[0], &byte, 1) < 0);
		}
		answer(t);
	}
	return NULL;
}

static void *link_of_chain(void *arg) {
	struct thread *t = arg;
	pthread_attr_t detached;
	pthread_t next;
	child(NULL);
	if (probe != t->seen)
		answer(t);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	while (pthread_create(&next, &detached, link_of_chain, t) != 0)
		;
	return NULL;
}

// await waits until all threads have answered. It takes the lock with it.
static void await(int count) {
	while (result.threads < count)
		pthread_cond_wait(&answered, &lock);
}

void ct_setup(const char *file, int fd) {
	path = file;
	ruleset = fd;
	gid = syscall(SYS_getegid);
}

int ct_start(int kind, int count, int masked) {
	pthread_mutex_lock(&lock);
	result.threads = 0;
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < count; i++) {
		struct thread *t = calloc(1, sizeof *t);
		struct epoll_event e = {.events = EPOLLIN};
		pthread_attr_t small;
		pthread_t id;
		t->kind = kind;
		t->masked = masked;
		t->seen = probe - (kind == CT_CHAIN); // run answers at once, and so does the first of a chain
		if (kind == CT_READ || kind == CT_POLL || kind == CT_EPOLL) {
			if (pipe2(t->pipe, O_CLOEXEC) != 0)
				return errno;
		}
		if (kind == CT_EPOLL) {
			t->epoll = epoll_create1(EPOLL_CLOEXEC);
			epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->pipe[0], &e);
		}
		pthread_attr_init(&small);
		pthread_attr_setstacksize(&small, 128 << 10);
		int error = pthread_create(&id, &small, kind == CT_CHAIN ? link_of_chain : run, t);
		if (error)
			return error;
		t->next = threads;
		threads = t;
	}
	pthread_mutex_lock(&lock);
	await(count);
	pthread_mutex_unlock(&lock);
	return 0;
}

void ct_probe(int stack, struct ct_result *found) {
	int count = 0;
	pthread_mutex_lock(&lock);
	result = (struct ct_result){0};
	stacking = stack;
	gid = syscall(SYS_getegid);
	probe++;
	for (struct thread *t = threads; t; t = t->next, count++)
		if (t->pipe[1] && write(t->pipe[1], "", 1) != 1)
			abort();
	syscall(SYS_futex, &probe, FUTEX_WAKE_PRIVATE, 1 << 30);
	pthread_cond_broadcast(&changed);
	await(count);
	*found = result;
	stacking = 0;
	pthread_mutex_unlock(&lock);
	found->children = children;
	found->escaped = escaped;
	found->odd = odd;
	found->gid_failed = gid_failed;
	for (int i = 0; i < CT_KINDS; i++)
		found->interrupted[i] = interrupted[i];
}

void ct_armed(int layers) { armed = layers; }

// blocked_link starts the next one by the bare system call, which is over in no time.
static int blocked_link(void *number) {
	static struct {
		char stack[16 << 10] __attribute__((aligned(16)));
		atomic_int taken; // until the kernel writes 0
	} links[64];
	unsigned long next = ((unsigned long)number + 1) % 64;
	for (volatile int i = 0; i < 10000; i++)
		;
	while (links[next].taken)
		;
	links[next].taken = 1;
	clone(blocked_link, links[next].stack + sizeof links[next].stack,
	      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID,
	      (void *)next, NULL, NULL, &links[next].taken);
	return 0;
}

static atomic_int blocked;

static void *first_blocked_link(void *arg) {
	unsigned long all = ~0ul;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
	blocked = 1;
	blocked_link(NULL);
	for (;;)
		syscall(SYS_exit, 0); // the bare one too: the stack is still used
	return arg;
}

void ct_start_blocked_chain(void) {
	pthread_t id;
	if (pthread_create(&id, NULL, first_blocked_link, NULL) != 0)
		abort();
	while (!blocked)
		sched_yield();
}
