// Checks the site's statement against the tensors and runs the plain kernel.
#include "attention_control/plan/attend.h"

#include "kernels/core/error.h"
#include "kernels/ops/attention.h"

namespace heddle {

Tensor attend(const AttentionSite& site, const SiteTokens& tokens, const Tensor& q, const Tensor& k, const Tensor& v,
              AttentionContext& context) {
  const Shape queries{q.dim(0), token_count(tokens.query), site.heads, site.head_dim};
  const Shape keys{q.dim(0), token_count(tokens.key), site.heads, site.head_dim};
  if (!(q.shape() == queries) || !(k.shape() == keys)) {
    fail(ErrorCode::internal, "attend " + site.name, "q " + queries.text() + " and k " + keys.text(),
         q.shape().text() + " and " + k.shape().text());
  }
  for (const Lane& lane : context.lanes) {
    if (lane.begin < 0 || lane.end > q.dim(0) || lane.begin > lane.end) {
      fail(ErrorCode::internal, "attend " + site.name, "lanes inside the batch", "lane " + lane.name);
    }
  }
  return attention(q, k, v, {.scale = site.scale, .causal = site.causal}).out;
}

}  // namespace heddle
