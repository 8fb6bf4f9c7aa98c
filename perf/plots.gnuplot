# Draws roofline.svg and networks.svg in the working directory from what summary.awk left there.
load "ceilings"
set encoding utf8
own = "#0072b2"  # told apart by whoever sees colours differently
peer = "#d55e00"

set terminal svg size 1000,480 font "sans-serif,12" background "white"
set output "roofline.svg"
set multiplot layout 1,2 title about
set logscale xy
set xlabel "FLOP per byte of x, weights and y"
set ylabel "GFLOP/s"
set xrange [0.2:1000]
set yrange [1:peak * 5]  # Winograd multiplies less than is counted
set key bottom right
set grid lc rgb "#dddddd"
do for [layout in "nchw nhwc"] {
  set title layout eq "nchw" ? "NCHW" : "NHWC"
  data = "< grep ^" . layout . " points"
  plot peak lc rgb "black" title sprintf("FMA peak, %.0f GFLOP/s", peak), \
       in_cache * x lc rgb "#777777" dt 3 title sprintf("copy in cache, %.0f GB/s", in_cache), \
       in_memory * x lc rgb "#777777" dt 2 title sprintf("copy in memory, %.0f GB/s", in_memory), \
       data using 2:4 with points pt 6 ps 0.45 lc rgb peer title "oneDNN", \
       data using 2:3 with points pt 7 ps 0.45 lc rgb own title "fastconv"
}
unset multiplot

set output "networks.svg"
set multiplot layout 1,2 title about
unset logscale
unset xlabel
unset grid
set grid y lc rgb "#dddddd"
set ylabel "% of FMA peak, geometric mean"
set autoscale x
set yrange [0:*]
set tics nomirror
set style data histogram
set style histogram clustered gap 1
set style fill solid
set boxwidth 0.9
set xtics rotate by -40 noenhanced
set key outside top center horizontal
do for [i = 0:1] {
  set title i == 0 ? "NCHW" : "NHWC"
  plot "bars" using 2 * i + 2:xtic(1) lc rgb own title "fastconv", \
       "" using 2 * i + 3 lc rgb peer title "oneDNN"
}
unset multiplot
