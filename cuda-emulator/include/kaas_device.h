// The CUDA C++ device language for the host's compiler. It is included before every kernel source; a source never
// includes it. `__global__`, `__launch_bounds__`, `__noinline__` and `__shared__` are no macros: the emulator's compiler
// reads and replaces them after preprocessing (kaas_emulator/device_source.py).
//
// Functions that read or write through a kernel's pointer are __forceinline__: the line of a fault in one is then known.
#pragma once

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cstdio>
#include <ctime>

#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __maxnreg__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_align__(bytes) __attribute__((aligned(bytes)))
#define __inline_hint__
#define __nv_pure__ __attribute__((pure))

#include "kaas_emulator_abi.h"

#include "kaas_device/vector_types.h"

#include "kaas_device/thread.h"

#include "kaas_device/sync.h"

#include "kaas_device/warp.h"

#include "kaas_device/atomic.h"

#include "kaas_device/arithmetic.h"

#include "kaas_device/intrinsics.h"

#include "kaas_device/special_functions.h"

#include "kaas_device/rounding.h"

#include "kaas_device/simd.h"

#include "kaas_device/checked.h"

#include "kaas_device/print.h"

#include "kaas_device/launch.h"

#include "shims/assert.h"

#define __CUDACC__ 1
#define __KAAS_EMULATOR__ 1
