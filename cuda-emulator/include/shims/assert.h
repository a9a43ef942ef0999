// assert() that ends the launch with CUDA_ERROR_ASSERT instead of the process. No include guard, as in C.
#undef assert
#ifdef NDEBUG
#define assert(...) static_cast<void>(0)
#else
#define assert(...)                                                                                           \
    (static_cast<bool>(__VA_ARGS__)                                                                           \
         ? static_cast<void>(0)                                                                               \
         : ::kaas_device::fail(::kaas_abi::Failure::assertion, "assertion '" #__VA_ARGS__ "' failed", __FILE__, \
                               __LINE__))
#endif
