// Objects that the API shows as opaque pointers. A pointer that is not alive is refused, whatever it points at.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "error.h"

namespace kaas {

template <class Object>
class Handles {
public:
    static Object* create(std::unique_ptr<Object> object) {
        Object* handle = object.get();
        std::lock_guard lock(mutex());
        table().emplace(handle, std::move(object));
        return handle;
    }

    static bool alive(const void* handle) {
        std::lock_guard lock(mutex());
        return table().count(handle) != 0;
    }

    static Object& get(const void* handle, Result otherwise = invalid_handle) {
        std::lock_guard lock(mutex());
        auto found = table().find(handle);
        if (found == table().end()) throw Error(otherwise);
        return *found->second;
    }

    // Takes the object out of the table; the caller decides when it dies.
    static std::unique_ptr<Object> take(const void* handle, Result otherwise = invalid_handle) {
        std::lock_guard lock(mutex());
        auto found = table().find(handle);
        if (found == table().end()) throw Error(otherwise);
        std::unique_ptr<Object> object = std::move(found->second);
        table().erase(found);
        return object;
    }

    template <class Condition>
    static void erase_if(Condition&& condition) {
        std::lock_guard lock(mutex());
        std::erase_if(table(), [&](const auto& entry) { return condition(*entry.second); });
    }

    template <class Action>
    static void for_each(Action&& action) {
        std::lock_guard lock(mutex());
        for (auto& entry : table()) action(*entry.second);
    }

private:
    // Never destroyed: worker threads may outlive static destructors.
    static std::mutex& mutex() {
        static auto* instance = new std::mutex;
        return *instance;
    }
    static std::unordered_map<const void*, std::unique_ptr<Object>>& table() {
        static auto* instance = new std::unordered_map<const void*, std::unique_ptr<Object>>;
        return *instance;
    }
};

}  // namespace kaas
