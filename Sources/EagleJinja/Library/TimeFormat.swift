import Foundation

/// Python's `strftime` in the local time zone, with English names.
enum TimeFormat {
  private static let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ]

  static func format(_ format: String, _ date: Date, timeZone: TimeZone = .current) throws -> String {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = timeZone
    let parts = calendar.dateComponents(
      [.year, .month, .day, .hour, .minute, .second, .nanosecond, .weekday, .dayOfYear], from: date)
    var (text, rest) = ("", format.unicodeScalars[...])
    while let scalar = rest.popFirst() {
      guard scalar == "%" else {
        text.unicodeScalars.append(scalar)
        continue
      }
      guard var directive = rest.popFirst() else { throw Fault("the time format ends with '%'") }
      var isPadded = true
      if directive == "-", let next = rest.popFirst() { (isPadded, directive) = (false, next) }
      text += try expand(directive, parts, isPadded)
    }
    return text
  }

  private static func expand(_ directive: Unicode.Scalar, _ parts: DateComponents, _ isPadded: Bool) throws -> String {
    func digits(_ value: Int?, _ width: Int) -> String {
      let digits = String(value ?? 0)
      return isPadded ? String(repeating: "0", count: max(width - digits.count, 0)) + digits : digits
    }
    let (hour, weekday, day) = (parts.hour ?? 0, (parts.weekday ?? 1) - 1, (parts.dayOfYear ?? 1) - 1)
    func join(_ directives: String) throws -> String {
      try directives.unicodeScalars.map { scalar in
        scalar.properties.isAlphabetic ? try expand(scalar, parts, true) : String(scalar)
      }.joined()
    }
    switch directive {
    case "Y": return String(parts.year ?? 0)
    case "y": return digits((parts.year ?? 0) % 100, 2)
    case "C": return digits((parts.year ?? 0) / 100, 2)
    case "m": return digits(parts.month, 2)
    case "d": return digits(parts.day, 2)
    case "e":
      let digits = String(parts.day ?? 1)
      return digits.count < 2 && isPadded ? " " + digits : digits
    case "H": return digits(hour, 2)
    case "I": return digits((hour + 11) % 12 + 1, 2)
    case "M": return digits(parts.minute, 2)
    case "S": return digits(parts.second, 2)
    case "f": return digits((parts.nanosecond ?? 0) / 1000, 6)
    case "j": return digits(day + 1, 3)
    case "p": return hour < 12 ? "AM" : "PM"
    case "A": return days[weekday]
    case "a": return String(days[weekday].prefix(3))
    case "w": return String(weekday)
    case "u": return String(weekday == 0 ? 7 : weekday)
    case "B": return months[(parts.month ?? 1) - 1]
    case "b", "h": return String(months[(parts.month ?? 1) - 1].prefix(3))
    case "U": return digits((day + 7 - weekday) / 7, 2)
    case "W": return digits((day + 7 - (weekday + 6) % 7) / 7, 2)
    case "F": return try join("Y-m-d")
    case "T", "X": return try join("H:M:S")
    case "R": return try join("H:M")
    case "D", "x": return try join("m/d/y")
    case "c": return try join("a b e H:M:S Y")
    case "Z", "z": return ""
    case "n": return "\n"
    case "t": return "\t"
    case "%": return "%"
    default: throw Fault("'%\(directive)' is no directive of a time format that is supported")
    }
  }
}
