#ifndef EAGLE_VERSION_H
#define EAGLE_VERSION_H

/// The commit that was built, as `git describe` names it; "unknown" where scripts/version did not run.
const char *eagle_commit(void);

#endif
