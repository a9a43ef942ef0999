// For NVRTC, which has none of the C library's headers: assert is built in.
#pragma once
