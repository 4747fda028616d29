#include "eagle_version.h"

// scripts/version writes this header, which git ignores, when the commit has changed; nothing else is compiled again.
#if __has_include("commit.h")
#include "commit.h"
#else
#define EAGLE_COMMIT "unknown"
#endif

const char *eagle_commit(void) { return EAGLE_COMMIT; }
