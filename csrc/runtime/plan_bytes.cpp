#include "runtime/plan_bytes.h"

namespace ourjit {

template <class IO>
void fields(IO&, Of<IO, CallNone>&) {}
template <class IO>
void fields(IO& io, Of<IO, PlanBuffer>& x) {
  values(io, x.kind, x.input, x.bytes, x.name);
}
template <class IO>
void fields(IO& io, Of<IO, PlanTensor>& x) {
  values(io, x.buffer, x.dtype, x.sizes, x.strides, x.offset);
}
template <class IO>
void fields(IO& io, Of<IO, LaunchRow>& x) {
  values(io, x.tensors, x.sizes, x.extent);
}
template <class IO>
void fields(IO& io, Of<IO, LaunchStep>& x) {
  values(io, x.kernel, x.rows, x.cost_ns, x.silent, x.provenance);
}
template <class IO>
void fields(IO& io, Of<IO, CallTensor>& x) {
  values(io, x.tensor);
}
template <class IO>
void fields(IO& io, Of<IO, CallEnum>& x) {
  values(io, x.kind, x.name);
}
template <class IO>
void fields(IO& io, Of<IO, CallArg>& x) {
  values(io, x.v);
}
template <class IO>
void fields(IO& io, Of<IO, CallStep>& x) {
  values(io, x.target, x.args, x.results, x.into_results, x.loc);
}
template <class IO>
void fields(IO& io, Of<IO, SymbolSource>& x) {
  values(io, x.symbol, x.input, x.dim);
}
template <class IO>
void fields(IO& io, Of<IO, PlanInput>& x) {
  values(io, x.is_number, x.dtype, x.sizes, x.strides, x.name, x.written);
}
template <class IO>
void fields(IO& io, Of<IO, PlanOutput>& x) {
  values(io, x.tensor, x.number, x.same_as, x.shares);
}
template <class IO>
void fields(IO& io, Of<IO, BufferUse>& x) {
  values(io, x.read, x.written);
}
template <class IO>
void fields(IO& io, Of<IO, PlanKernel>& x) {
  values(io, x.name, x.buffers);
}
template <class IO>
void fields(IO& io, Of<IO, Plan>& x) {
  values(io, x.name, x.inputs, x.symbols, x.buffers, x.tensors, x.kernels, x.steps, x.outputs,
         x.guarded, x.tensors_on, x.matmul);
}

void write(ByteWriter& out, const Plan& plan) { value(out, plan); }

Plan read_plan(ByteReader& in) {
  Plan plan;
  value(in, plan);
  return plan;
}

}  // namespace ourjit
