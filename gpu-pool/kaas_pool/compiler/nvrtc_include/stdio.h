// For NVRTC, which has none of the C library's headers: printf is built in.
#pragma once
