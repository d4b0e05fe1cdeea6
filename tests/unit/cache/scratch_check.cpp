#include "cache/scratch_check.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "cache/contents.h"

namespace ourjit::cache::testing {

Scratch::Scratch() : path_((std::filesystem::temp_directory_path() / "ourjit.XXXXXX").string()) {
  if (!mkdtemp(path_.data())) throw std::runtime_error("mkdtemp failed");
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Key key_of(int number) {
  return {{"build", "b1"}, {"kernel", "kernel " + std::to_string(number)}, {"target", "avx2"}};
}

Entry entry_of(int number, size_t bytes) {
  Entry entry{key_of(number), {{"name", "kernel_" + std::to_string(number)}}, {}};
  uint64_t state = static_cast<uint64_t>(number) + 1;
  while (entry.payload.size() < bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    entry.payload += static_cast<char>(state >> 56);
  }
  return entry;
}

bool same(const Entry& a, const Entry& b) {
  return canonical(a.key) == canonical(b.key) && a.notes == b.notes && a.payload == b.payload;
}

Watched::Watched(const std::string& folder, int64_t limit, BeforeStep before)
    : store(Store::open(
          folder, limit, [this](const std::string& text) { warnings.push_back(text); },
          std::move(before))) {}

std::string path_of(const std::string& folder, const Key& key) {
  const std::string name = digest(key);
  return folder + "/" + folder_name(name) + "/" + file_name(name);
}

std::string bytes_in(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void put(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  out.close();
  chmod(path.c_str(), 0600);
}

int temporaries_in(const std::string& folder) {
  int found = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder))
    found += is_temporary(file.path().filename().string());
  return found;
}

std::string in_child(const std::function<std::string()>& work) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child < 0) return "no child";
  if (child == 0) {
    std::string answer;
    try {
      answer = work();
    } catch (const std::exception& e) {
      answer = std::string("an exception: ") + e.what();
    }
    write_bytes(ends[1], answer);
    _exit(0);
  }
  close(ends[1]);
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) answer.append(buffer, n);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return "ended by signal " + std::to_string(WTERMSIG(status));
  return answer;
}

}  // namespace ourjit::cache::testing
