#include "backend/llvm_compile.h"

#include <llvm/Analysis/AliasAnalysis.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/Bitcode/BitcodeReader.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Linker/Linker.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Transforms/IPO/AlwaysInliner.h>
#include <llvm/Transforms/IPO/GlobalDCE.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>
#include <llvm/Transforms/Utils/Mem2Reg.h>

#include "base/error.h"
#include "codegen/llvm_module.h"
#include "cpu_bitcode.h"

namespace ourjit {

namespace {

/// True if `module` calls vector maths.
bool needs_bitcode(const llvm::Module& module) {
  for (const llvm::Function& f : module)
    if (f.isDeclaration() && f.getName().starts_with(kBitcodePrefix)) return true;
  return false;
}

/// Links the needed part of the vector maths. Its functions become private to the module.
void link_bitcode(llvm::Module& module, int vector_bits) {
  const std::string_view bytes = cpu_bitcode(vector_bits);
  OURJIT_CHECK(!bytes.empty()) << "there is no vector maths of " << vector_bits << " bits";
  auto library = llvm::getLazyBitcodeModule(
      llvm::MemoryBufferRef(llvm::StringRef(bytes.data(), bytes.size()), "vector maths"),
      module.getContext());
  if (!library)
    OURJIT_RAISE(BackendError) << "the vector maths cannot be read: "
                               << llvm::toString(library.takeError());
  // Its layout is the target's own; the module's is the same but for what the library was compiled
  // with.
  (*library)->setDataLayout(module.getDataLayout());
  (*library)->setTargetTriple(module.getTargetTriple());
  if (llvm::Linker::linkModules(module, std::move(*library), llvm::Linker::LinkOnlyNeeded))
    OURJIT_RAISE(BackendError) << "the vector maths cannot be linked into "
                               << module.getName().str();
}

/// Compiles every function for one and the same CPU, without which there is no inlining.
void set_cpu(llvm::Module& module, const llvm::TargetMachine& machine, llvm::StringRef kernel,
             int vector_bits) {
  const std::string bits = std::to_string(vector_bits);
  for (llvm::Function& f : module) {
    if (f.isDeclaration()) {
      if (f.getName().starts_with(kBitcodePrefix))
        OURJIT_RAISE(BackendError)
            << "the vector maths of " << vector_bits << " bits lacks " << f.getName().str();
      continue;
    }
    for (const char* name : {"target-cpu", "tune-cpu", "target-features",
                             "stack-protector-buffer-size", "frame-pointer"})
      f.removeFnAttr(name);
    f.addFnAttr("target-cpu", machine.getTargetCPU());
    f.addFnAttr("target-features", machine.getTargetFeatureString());
    f.addFnAttr("prefer-vector-width", bits);
    f.addFnAttr("min-legal-vector-width", bits);
    if (f.getName() != kernel) f.setLinkage(llvm::GlobalValue::InternalLinkage);
  }
}

void run_passes(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);

  llvm::FunctionPassManager simplify;
  simplify.addPass(llvm::PromotePass());
  simplify.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/false));
  simplify.addPass(llvm::InstCombinePass(
      llvm::InstCombineOptions().setMaxIterations(1).setVerifyFixpoint(false)));
  simplify.addPass(llvm::SimplifyCFGPass());
  simplify.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()),
                                                         /*UseMemorySSA=*/true));
  simplify.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/false));
  llvm::ModulePassManager pipeline;
  pipeline.addPass(llvm::AlwaysInlinerPass(/*InsertLifetime=*/false));
  pipeline.addPass(llvm::GlobalDCEPass());
  pipeline.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(simplify)));
  pipeline.run(module, modules);
}

}  // namespace

void optimize_module(llvm::Module& module, llvm::TargetMachine& machine, int vector_bits) {
  module.setTargetTriple(machine.getTargetTriple().str());
  module.setDataLayout(machine.createDataLayout());
  const std::string kernel = module.getName().str();
  if (needs_bitcode(module)) link_bitcode(module, vector_bits);
  set_cpu(module, machine, kernel, vector_bits);
  std::string message;
  llvm::raw_string_ostream out(message);
  if (llvm::verifyModule(module, &out))
    OURJIT_RAISE(BackendError) << "LLVM rejects the code of @" << kernel << ": " << message;
  run_passes(module, machine);
}

llvm::SmallVector<char, 0> generate_code(llvm::Module& module, llvm::TargetMachine& machine,
                                         llvm::CodeGenFileType type) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, out, nullptr, type, /*DisableVerify=*/true))
    OURJIT_RAISE(BackendError) << "LLVM cannot emit code of this kind";
  passes.run(module);
  return bytes;
}

}  // namespace ourjit
