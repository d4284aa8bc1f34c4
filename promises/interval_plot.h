// A plot of rates with their intervals: plain and method, one line for each metric of each group.
#pragma once

#include "promises/report.h"

namespace heddle {

std::string interval_plot(const PromiseResult& result);  // SVG

}  // namespace heddle
