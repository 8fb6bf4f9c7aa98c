# Reads the CSV files that `fastconv_perf --peer=onednn --csv=NETWORK-LAYOUT.csv` wrote and prints a
# table of the networks; data for plots.gnuplot go to the files named by -v points=, bars= and
# ceilings=.

# Splits a line of CSV into f[1], f[2], …
function split_csv(line, count) {
  count = 0
  while (line != "") {
    match(line, /^("[^"]*"|[^,]*)/)
    f[++count] = substr(line, 1, RLENGTH)
    gsub(/"/, "", f[count])
    line = substr(line, RLENGTH + 2)
  }
}
function value(name) { return f[column[name]] }
function number(name) { return value(name) + 0 }  # what substr gives compares as text
function mean(log_sum, i) { return exp(log_sum[i] / pairs[i]) }

FNR == 1 {
  split_csv($0)
  for (i in f) column[f[i]] = i
  network = FILENAME
  sub(/.*\//, "", network)
  sub(/-[a-z]*\.csv$/, "", network)
  if (!(network in layers)) names[++networks] = network
  layers[network] = 0
  next
}
{
  split_csv($0)
  layers[network]++
  if (number("onednn_gflops") == 0 || number("copy_s") == 0) next
  i = network SUBSEP value("layout")
  pairs[i]++
  peak = number("peak_gflops")
  copy = number("copy_s")
  floor = number("gflop") / peak
  if (copy > floor) floor = copy
  ratio[i] += log(number("ratio"))
  own[i] += log(100 * number("gflops") / peak)
  peer[i] += log(100 * number("onednn_gflops") / peak)
  bound[i] += log(100 * floor / number("min_s"))
  if (!(i in worst) || number("ratio") < worst[i]) {
    worst[i] = number("ratio")
    worst_layer[i] = value("name")
  }
  # FLOP a byte, in the layout's block.
  printf "%s %g %g %g\n", value("layout"), number("gflop") * 1e9 / number("bytes"), number("gflops"),
         number("onednn_gflops") > points
  if (peak > highest_peak) highest_peak = peak
  speed = number("bytes") / copy * 1e-9
  if (speed > in_cache) in_cache = speed
  if (number("bytes") > most_bytes) { most_bytes = number("bytes"); in_memory = speed }
  about = value("cpu") ", one core, " value("isa") ", fastconv " value("fastconv") ", oneDNN " \
          value("onednn")
}
END {
  printf "%s, %s\n\n", about, date
  print "| | | NCHW | | | | NHWC | | | |"
  print "|---|---|---|---|---|---|---|---|---|---|"
  printf "| network | layers"
  for (i = 0; i < 2; ++i) printf " | x oneDNN | worst | %% of peak | %% of bound"
  print " |"
  for (n = 1; n <= networks; ++n) {
    network = names[n]
    printf "| %s | %d", network, layers[network]
    printf "%s", network > bars
    for (l = 1; l <= 2; ++l) {
      i = network SUBSEP (l == 1 ? "nchw" : "nhwc")
      if (pairs[i] == 0) {
        printf " | | | |"
        printf " nan nan" > bars
        continue
      }
      printf " | %.2f | %.2f %s | %.0f | %.0f", mean(ratio, i), worst[i], worst_layer[i],
             mean(own, i), mean(bound, i)
      printf " %g %g", mean(own, i), mean(peer, i) > bars
    }
    print " |"
    print "" > bars
  }
  printf "about = \"%s, %s\"\npeak = %g\nin_memory = %g\nin_cache = %g\n", about, date,
         highest_peak, in_memory, in_cache > ceilings
}
