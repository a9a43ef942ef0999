#include "inject.h"

#include <map>
#include <string>

#include "rules.h"

namespace kaas {
namespace {

// A number that looks random for each (seed, index): the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t mix(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t z = seed * 0xd1342543de82ef95ULL + index * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

}  // namespace

Delays Delays::read() {
    Delays delays;
    for (const auto& rule : kaas::Rule::read("KAAS_EMULATOR_DELAYS", {{"context", {"for"}},
                                                                      {"module", {"for"}},
                                                                      {"launch", {"for"}},
                                                                      {"copy-to-device", {"for", "rate"}},
                                                                      {"copy-to-host", {"for", "rate"}}})) {
        const std::int64_t each = rule.nanoseconds("for", 0);
        if (rule.name() == "context") delays.context = each;
        else if (rule.name() == "module") delays.module = each;
        else if (rule.name() == "launch") delays.launch = each;
        else if (rule.name() == "copy-to-device") delays.to_device = {each, rule.bytes("rate", 0)};
        else delays.to_host = {each, rule.bytes("rate", 0)};
    }
    return delays;
}

std::int64_t Delays::copy(Direction direction, std::size_t bytes) const {
    if (direction != Direction::to_device && direction != Direction::to_host) return 0;
    const Copies& copies = direction == Direction::to_device ? to_device : to_host;
    std::int64_t total = copies.each;
    if (copies.bytes_per_second)
        total += static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(copies.bytes_per_second));
    return total;
}

std::unique_ptr<Faults> Faults::read() {
    const std::vector<std::string> when = {"nth", "times", "every", "p", "seed"};
    const std::vector<std::string> timed = {"nth", "times", "every", "p", "seed", "for"};
    const std::map<std::string, Kind> kinds = {
        {"allocation-fails", Kind::allocation_fails}, {"launch-faults", Kind::launch_faults},
        {"launch-hangs", Kind::launch_hangs},         {"launch-slow", Kind::launch_slow},
        {"copy-stalls", Kind::copy_stalls},           {"device-lost", Kind::device_lost}};
    kaas::Rule::Names names;
    for (const auto& [name, kind] : kinds)
        names[name] = kind == Kind::launch_slow || kind == Kind::copy_stalls ? timed : when;

    auto faults = std::make_unique<Faults>();
    for (const auto& asked : kaas::Rule::read("KAAS_EMULATOR_FAULTS", names)) {
        if (asked.has("nth") + asked.has("every") + asked.has("p") != 1)
            asked.refuse("a rule with exactly one of nth=N, every=N and p=P");
        if (asked.has("seed") && !asked.has("p")) asked.refuse("a rule that has p=P where it has seed=N");
        if (asked.has("times") && !asked.has("nth")) asked.refuse("a rule that has nth=N where it has times=N");
        auto rule = std::make_unique<Rule>();
        rule->kind = kinds.at(asked.name());
        rule->nth = asked.count("nth", 0);
        rule->times = asked.count("times", 1);
        rule->every = asked.count("every", 0);
        rule->seed = asked.count("seed", 1);
        if (asked.has("p")) rule->probability = asked.probability("p");
        if (rule->kind == Kind::launch_slow && !asked.has("for")) asked.refuse("a rule with for=TIME, such as for=500ms");
        rule->delay_ns = asked.nanoseconds("for", for_ever);
        faults->rules_.push_back(std::move(rule));
    }
    return faults->rules_.empty() ? nullptr : std::move(faults);
}

bool Faults::Rule::next() {
    const std::uint64_t number = counted.fetch_add(1, std::memory_order_relaxed) + 1;
    if (nth) return number >= nth && number - nth < times;
    if (every) return number % every == 0;
    return static_cast<double>(mix(seed, number) >> 11) * 0x1p-53 < probability;
}

bool Faults::next(Kind kind, std::int64_t* delay_ns) {
    bool happens = false;
    for (const auto& rule : rules_) {
        if (rule->kind != kind || !rule->next()) continue;
        happens = true;
        if (delay_ns && rule->delay_ns > *delay_ns) *delay_ns = rule->delay_ns;
    }
    return happens;
}

Faults::Allocation Faults::next_allocation() {
    const bool lost = next(Kind::device_lost), fails = next(Kind::allocation_fails);
    return lost ? Allocation::loses_device : fails ? Allocation::fails : Allocation::none;
}

Faults::LaunchPlan Faults::next_launch() {
    LaunchPlan plan;
    next(Kind::launch_slow, &plan.delay_ns);
    if (next(Kind::launch_faults)) plan.kind = Launch::faults;
    if (next(Kind::launch_hangs)) plan.kind = Launch::hangs;
    if (next(Kind::device_lost)) plan.kind = Launch::loses_device;
    return plan;
}

Faults::CopyPlan Faults::next_copy() {
    CopyPlan plan;
    next(Kind::copy_stalls, &plan.delay_ns);
    plan.loses_device = next(Kind::device_lost);
    return plan;
}

}  // namespace kaas
