// For NVRTC, which has none of the C library's headers: memcpy and memset are built in.
#pragma once
