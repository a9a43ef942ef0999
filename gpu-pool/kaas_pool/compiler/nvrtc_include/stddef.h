// For NVRTC, which has none of the C library's headers: size_t is built in.
#pragma once

typedef long ptrdiff_t;
#ifndef NULL
#define NULL 0
#endif
#define offsetof(type, member) ((size_t) &((type*)0)->member)
