// Included before every source for NVRTC: what the emulated device's language has without a header too. Without
// <stdint.h>, because sources that were written for NVRTC define its types themselves.
#pragma once

#include "float.h"
#include "limits.h"
#include "math.h"
#include "stddef.h"
