#pragma once

// The 8-bit library: its functions and types carry the suffix _8, which Swift spells out because it cannot see
// the function-like macros that usually hide it.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
