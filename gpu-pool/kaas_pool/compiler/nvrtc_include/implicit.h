// Included before every source for NVRTC: what the emulated device's language has without a header too. Without
// <stdint.h>, because CUDA's headers for memcpy_async define some of its types themselves, and otherwise.
#pragma once

#include "float.h"
#include "limits.h"
#include "math.h"
#include "stddef.h"
