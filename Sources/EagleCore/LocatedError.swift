import Foundation

/// An error with its location: where, what, and what the reader of the message can do.
public struct LocatedError: LocalizedError, CustomStringConvertible, Equatable {
  /// The file, folder or setting at fault.
  public let path: String
  /// The problem, as a phrase that follows the location.
  public let problem: String
  /// The advice on what to do, as a phrase; nil when there is none.
  public let advice: String?

  /// Creates an error about the file, folder or setting `path`.
  public init(path: String, problem: String, advice: String? = nil) {
    self.path = path
    self.problem = problem
    self.advice = advice
  }

  public var description: String {
    guard let advice else { return "\(path): \(problem)" }
    return "\(path): \(problem); \(advice)"
  }

  public var errorDescription: String? { description }

  /// A failed system call, in the system's own words, for example `cannot write: No space left on device`.
  public static func system(path: String, _ action: String, code: Int32 = errno) -> LocatedError {
    LocatedError(path: path, problem: "cannot \(action): \(String(cString: strerror(code)))", advice: advice(for: code))
  }

  private static func advice(for code: Int32) -> String? {
    switch code {
    case ENOENT, ENOTDIR: "check the path"
    case EACCES, EPERM, EROFS: "check the permissions of the file and its folder"
    case ENOSPC, EDQUOT: "free some space there, or choose another place, and start again"
    case EMFILE, ENFILE: "raise the limit of open files (ulimit -n)"
    case EIO: "the disk reports an error: check it, or copy the file again"
    default: nil
    }
  }
}
